# The server image with a model baked in. The build's context is the bundle's folder itself:
#
#   docker build -f docker/bundle.Dockerfile -t receipts:1 --build-arg SERVER_IMAGE=layoutlm-server quickstart/bundle
ARG SERVER_IMAGE=layoutlm-server:latest
FROM ${SERVER_IMAGE}
COPY . /opt/ml/model/
