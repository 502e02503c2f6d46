{{- define "tsa.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* RELEASE-server where the release's name has the chart's, else RELEASE-tsa-server. */}}
{{- define "tsa.fullname" -}}
{{- $middle := ternary "" (printf "-%s" (include "tsa.name" .)) (contains (include "tsa.name" .) .Release.Name) -}}
{{- $made := printf "%s%s-%s" .Release.Name $middle .Values.server.name -}}
{{- default $made .Values.server.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tsa.namespace" -}}
{{- if .Values.forceNamespace }}{{ .Values.forceNamespace }}
{{- else }}{{ .Release.Namespace }}
{{- end }}
{{- end }}

{{- define "tsa.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tsa.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tsa.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "tsa.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Name, namespace and labels of an object; call it with (list . SUFFIX). */}}
{{- define "tsa.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "tsa.fullname" $root }}{{ index . 1 }}
namespace: {{ include "tsa.namespace" $root }}
labels:
  {{- include "tsa.labels" $root | nindent 2 }}
{{- end }}

{{- define "tsa.serviceAccountName" -}}
{{- $own := ternary (include "tsa.fullname" .) "default" .Values.server.serviceAccount.create -}}
{{- default $own .Values.server.serviceAccount.name }}
{{- end }}

{{- define "tsa.image" -}}
{{- $image := .Values.server.image -}}
{{- $registry := $image.registry -}}
{{- $other := .Values.global.imageRegistry -}}
{{- if kindIs "map" $other }}{{ $registry = get $other $registry | default $registry }}
{{- else if $other }}{{ $registry = $other }}
{{- end -}}
{{- $separator := ternary "@" ":" (hasPrefix "sha256:" $image.version) -}}
{{- printf "%s/%s%s%s" $registry $image.repository $separator $image.version -}}
{{- end }}

{{/* Where the chain is: from the values, or with the file signer from the Secret. */}}
{{- define "tsa.chainPath" -}}
{{- $args := .Values.server.args -}}
{{- if $args.cert_chain }}/etc/tsa-config/chain.pem
{{- else if eq $args.signer "file" }}/var/run/tsa-secrets/chain.pem
{{- else }}{{ fail (printf "server.args.cert_chain: the signer %s needs the certificate chain, PEM, from the TSA's to the root" $args.signer) }}
{{- end }}
{{- end }}

{{/* The arguments of the container, a line each. */}}
{{- define "tsa.args" -}}
{{- $args := .Values.server.args -}}
- serve
- --host=0.0.0.0
- --port={{ $args.port }}
- --timestamp-signer={{ $args.signer }}
{{- if eq $args.signer "tink" }}
- --tink-key-resource={{ required "server.args.tink_key_resource: the KEK's URI is needed" $args.tink_key_resource }}
- --tink-keyset-path=/etc/tsa-config/tink.keyset.enc
{{- else if eq $args.signer "kms" }}
- --kms-key-resource={{ required "server.args.kms_key_resource: the key's URI is needed" $args.kms_key_resource }}
{{- else if eq $args.signer "file" }}
- --file-signer-key-path=/var/run/tsa-secrets/key.pem
{{- else if ne $args.signer "memory" }}
{{- fail (printf "server.args.signer is %q; tink, kms, file and memory are known" $args.signer) }}
{{- end }}
{{- if ne $args.signer "memory" }}
- --certificate-chain-path={{ include "tsa.chainPath" . }}
{{- end }}
{{- if .Values.server.logging.production }}
- --log-type=prod
{{- end }}
{{- if .Values.server.config }}
- --config=/etc/tsa-config/tsa.toml
{{- end }}
{{- range $args.extra }}
- {{ . | quote }}
{{- end }}
{{- end }}
