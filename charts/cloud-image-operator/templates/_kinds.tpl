{{- /* Written by `cargo xtask generate`; do not edit. */}}

{{- /* The image kinds. */}}
{{- define "cloud-image-operator.images" -}}
[aospimages, imageexports, imagecomponents, imagepipelines, imagebuilds, aliyunimagecopies, batchcomputeimages, rootvolumetemplates, imagedistributions]
{{- end }}

{{- /* Who calls the vendors. */}}
{{- define "cloud-image-operator.accounts" -}}
[cloudaccounts, clustercloudaccounts]
{{- end }}

{{- /* The statuses of all. */}}
{{- define "cloud-image-operator.statuses" -}}
[cloudaccounts/status, clustercloudaccounts/status, aospimages/status, imageexports/status, imagecomponents/status, imagepipelines/status, imagebuilds/status, aliyunimagecopies/status, batchcomputeimages/status, rootvolumetemplates/status, imagedistributions/status]
{{- end }}

{{- /* All. */}}
{{- define "cloud-image-operator.kinds" -}}
[cloudaccounts, clustercloudaccounts, aospimages, imageexports, imagecomponents, imagepipelines, imagebuilds, aliyunimagecopies, batchcomputeimages, rootvolumetemplates, imagedistributions]
{{- end }}

{{- /* What is in namespaces. */}}
{{- define "cloud-image-operator.namespaced" -}}
[cloudaccounts, aospimages, imageexports, imagecomponents, imagepipelines, imagebuilds, aliyunimagecopies, batchcomputeimages, rootvolumetemplates, imagedistributions]
{{- end }}

{{- /* What is not. */}}
{{- define "cloud-image-operator.clusterScoped" -}}
[clustercloudaccounts]
{{- end }}
