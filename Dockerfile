# The application on a CPU, or on the GPU where the container is given one; also as a Docker Space.
#   docker build --build-arg PIP_EXTRA_INDEX_URL=INDEX -t groma . && docker run --rm -p 7860:7860 groma
# INDEX is the one of CPU builds that pytorch.org names; with it the image needs no CUDA and stays small.
FROM python:3.12-slim

# OpenMP, which the slim image lacks and 8-bit and 4-bit weights need on a CPU.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

# pip reads it from the environment, which an argument of the build is part of.
ARG PIP_EXTRA_INDEX_URL
COPY requirements.txt constraints.txt /tmp/
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt --constraint /tmp/constraints.txt

RUN useradd --create-home --uid 1000 groma
USER groma
WORKDIR /home/groma
COPY --chown=groma . .

# Everything it may need is inside: weights/groma-photo and groma-mini. Another model: -e GROMA_MODEL=…
# Others can reach this page, so the finetune tab is off; in a network of your own: -e GROMA_FINETUNE=1
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860
EXPOSE 7860
CMD ["python", "app.py"]
