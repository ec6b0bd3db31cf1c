# The command line on a CPU, from a wheel built in the first stage:
#   docker build -t lowlight . && docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/pictures" lowlight enhance dark.jpg
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /source
# the wheel alone: torch is not needed to compile, and the second stage takes the CPU's
RUN LOWLIGHT_EXT_BUILD=cpu pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
# OpenMP's library is torch's own
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu \
    && for wheel in /wheels/*.whl; do pip install --no-cache-dir "$wheel[raw,heif,video]"; done \
    && lowlight info
# where caches and fetched weights go, whoever runs it
ENV HOME=/tmp
WORKDIR /pictures
ENTRYPOINT ["lowlight"]
CMD ["--help"]
