# Builds static binaries and puts each, alone, into an empty image that runs as nobody: the server, which is the default,
# and with --target bursar-shim the standalone shim.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o / ./cmd/bursar ./cmd/bursar-shim \
 && mkdir /data && chown 65532:65532 /data

FROM scratch AS bursar-shim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /bursar-shim /bursar-shim
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /data
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/bursar-shim", "health", "--config", "/data/shim.yaml"]
ENTRYPOINT ["/bursar-shim"]
CMD ["--config", "/data/shim.yaml"]

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /bursar /bursar
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/bursar", "health", "--config", "/data/bursar.yaml"]
ENTRYPOINT ["/bursar"]
CMD ["serve", "--config", "/data/bursar.yaml"]
