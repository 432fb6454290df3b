# vidlabel with CUDA. Build and run:
#     docker build -t vidlabel .
#     docker run --rm --gpus all -v /data:/data vidlabel doctor --out /data
#     docker run --rm --gpus all -v /data:/data vidlabel caption /data/videos --out /data/labels.parquet
# `docker stop -t 300` sends SIGTERM and gives the run time to finish what is in flight.
FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04

# python3-dev and gcc: Triton compiles its launcher when the decode kernel is first used
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv python3-dev gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/vidlabel/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    VIDLABEL_HOME=/data/vidlabel
RUN python3 -m venv /opt/vidlabel

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY prompts prompts
COPY vidlabel vidlabel
# the index's CUDA build of torch; its version is that of the constraints
RUN pip install --constraint constraints.txt torch triton \
    && pip install --constraint constraints.txt '.[quantize,whisper]'

RUN useradd --create-home --uid 10001 vidlabel && mkdir -p /data && chown vidlabel /data
USER vidlabel
WORKDIR /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["vidlabel"]
CMD ["--help"]
