#!/bin/sh
# The image's entry point: `docker run IMAGE serve ...` runs the server, and so does `docker run IMAGE timestamp-server
# serve ...`, as Sigstore's image has it. The other programs are called by their names.
case "$1" in
timestamp-server | timestamp-cli | fetch-tsa-certs | certificate-maker) exec "$@" ;;
*) exec timestamp-server "$@" ;;
esac
