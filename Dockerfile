# A CPU server of one file; docs/install.md says how to build and run it.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends build-essential cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# llama.cpp first: its minutes are spent again only when its version changes. The wheel is for any
# machine of this architecture since 2013 (x86-64-v3), not for the one that builds. Only programs
# need llama.cpp's `common`, two fifths of its files; llama-cpp-python would build it all the same.
COPY constraints.txt .
RUN python -m venv /kindred && echo 'set(LLAMA_BUILD_COMMON OFF)' > /without.cmake \
    && CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_INCLUDE=/without.cmake" \
       /kindred/bin/pip install --no-cache-dir -c constraints.txt llama-cpp-python
COPY . .
# onnxruntime and tokenizers serve ONNX folders; the rest of the extra onnx is for exporting them.
# llama-cpp-python loads its own copy of the libraries, not the one for compilers.
RUN /kindred/bin/pip install --no-cache-dir -c constraints.txt '.[runtime]' onnxruntime tokenizers \
    && /kindred/bin/pip uninstall --yes pip setuptools \
    && cd /kindred/lib/python3*/site-packages && rm -r lib include

FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home --uid 1000 kindred
COPY --from=build /kindred /kindred
USER 1000
WORKDIR /home/kindred
EXPOSE 8080
HEALTHCHECK --start-period=30s CMD ["/kindred/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
# Without KINDRED_API_KEY this refuses to start: inside a container every address is an outside one.
ENTRYPOINT ["/kindred/bin/distill", "runtime", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["/models/student.gguf"]
