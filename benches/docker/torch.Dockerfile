# PyTorch and transformers behind FastAPI, as commonly put together; for benches/docker/compare.py only.
FROM python:3.11-slim-bookworm
RUN pip install --no-cache-dir torch==2.15.0 transformers==4.57.6 fastapi uvicorn
COPY peer_server.py /app/
COPY model /model
ENV BACKEND=torch MODEL=/model
WORKDIR /app
USER 10001
CMD ["python", "-m", "uvicorn", "peer_server:app", "--host", "0.0.0.0", "--port", "8080"]
