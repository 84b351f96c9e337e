# Python's onnxruntime behind FastAPI, as commonly put together; for benches/docker/compare.py only.
FROM python:3.11-slim-bookworm
RUN pip install --no-cache-dir onnxruntime==1.31.1 tokenizers==0.22.2 fastapi uvicorn
COPY peer_server.py /app/
COPY model /model
ENV BACKEND=onnxruntime MODEL=/model
WORKDIR /app
USER 10001
CMD ["python", "-m", "uvicorn", "peer_server:app", "--host", "0.0.0.0", "--port", "8080"]
