{{- /* What the pods of the three services share. Each takes (dict "root" $ "service" "control"). */ -}}

{{- define "vcluster.selector" -}}
app.kubernetes.io/name: vcluster-{{ .service }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "vcluster.labels" -}}
{{ include "vcluster.selector" . }}
app.kubernetes.io/component: {{ .service }}
app.kubernetes.io/part-of: vcluster
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "vcluster.image" -}}
{{- $image := (index .root.Values .service).image -}}
{{ trimSuffix "/" .root.Values.image.registry }}/{{ $image.name }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "vcluster.seccomp" -}}
type: {{ .root.Values.pod.seccomp.type }}
{{- if eq .root.Values.pod.seccomp.type "Localhost" }}
localhostProfile: {{ required "pod.seccomp.localhostProfile is needed with type Localhost" .root.Values.pod.seccomp.localhostProfile }}
{{- end }}
{{- end }}

{{- /* The pod's part of the spec, up to its containers. */ -}}
{{- define "vcluster.podSpec" -}}
serviceAccountName: vcluster-{{ .account | default .service }}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Lets the group read the mounted Secrets.
  fsGroup: 65532
  seccompProfile:
    {{- include "vcluster.seccomp" . | nindent 4 }}
{{- with .root.Values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Only Deployments: spreads replicas over nodes. */ -}}
{{- define "vcluster.spread" -}}
{{- if gt (int (index .root.Values .service).replicas) 1 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "vcluster.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{- define "vcluster.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Environment that every service understands. */ -}}
{{- define "vcluster.env" -}}
- name: VCLUSTER_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: VCLUSTER_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: VCLUSTER_POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: VCLUSTER_LOG_FORMAT
  value: {{ .root.Values.log.format | quote }}
- name: VCLUSTER_LOG_FILTER
  value: {{ .root.Values.log.filter | quote }}
{{- with .root.Values.telemetry.otlpEndpoint }}
- name: VCLUSTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: VCLUSTER_DRAIN_TIMEOUT
  value: {{ .root.Values.pod.drainTimeout | quote }}
{{- end }}

{{- define "vcluster.probes" -}}
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  failureThreshold: 2
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  failureThreshold: 120
{{- end }}

{{- /* Name by which the API server knows a service: (dict "root" $ "service" "control"). */ -}}
{{- define "vcluster.username" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:vcluster-{{ .service }}
{{- end }}
