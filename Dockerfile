# syntax=docker/dockerfile:1

# One image for the four programs: they share nearly all of their code, and a platform whose parts
# bear one digest is easier to reason about. Each Deployment names the program it runs.

FROM swift:6.3-bookworm AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
        libpq-dev librdkafka-dev libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src

# Dependencies are resolved before the sources are copied, so that a change of code does not fetch them anew.
# The glob lets a checkout without Package.resolved build as well.
COPY Package.swift Package.resolved* ./
RUN --mount=type=cache,target=/var/cache/swiftpm,sharing=locked \
    --mount=type=cache,target=/src/.build,sharing=locked \
    swift package --cache-path /var/cache/swiftpm resolve

COPY . .

# .build is a cache mount and gone after this step: what the image needs is staged within it.
# Bundles of resources have to lie beside the program that looks for them.
RUN --mount=type=cache,target=/var/cache/swiftpm,sharing=locked \
    --mount=type=cache,target=/src/.build,sharing=locked \
    build=(swift build --cache-path /var/cache/swiftpm --configuration release --static-swift-stdlib) \
    && for product in auth order activity lantern; do "${build[@]}" --product "$product" || exit 1; done \
    && bin="$("${build[@]}" --show-bin-path)" \
    && install -D --target-directory=/staging/bin "$bin"/{auth,order,activity,lantern} \
    && find -L "$bin" -maxdepth 1 -name '*.resources' -exec cp -R {} /staging/bin/ \; \
    && install -D --target-directory=/staging/libexec /usr/libexec/swift/linux/swift-backtrace-static


FROM debian:bookworm-slim

RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates libpq5 librdkafka1 libssl3 tzdata zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 lantern \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lantern

COPY --from=build /staging/bin/ /usr/local/bin/
COPY --from=build /staging/libexec/ /usr/local/libexec/

# A library that is linked but not installed fails this build, not the first pod.
RUN set -e; for program in auth order activity lantern; do \
        libraries="$(ldd "/usr/local/bin/$program")"; \
        case "$libraries" in *"not found"*) echo "$program: $libraries" >&2; exit 1;; esac; \
    done

# A crash leaves its stack on standard error; standard output stays one JSON object a line.
ENV SWIFT_BACKTRACE=enable=yes,sanitize=yes,threads=crashed,color=no,interactive=no,output-to=stderr,swift-backtrace=/usr/local/libexec/swift-backtrace-static

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="lantern" \
      org.opencontainers.image.description="Lantern's services auth, order and activity, and its command line" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

# By number: runAsNonRoot cannot judge a name.
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM

# Neither entry point nor command: which of the four runs is always said, and no shell stands between it and SIGTERM.
ENTRYPOINT []
CMD []
