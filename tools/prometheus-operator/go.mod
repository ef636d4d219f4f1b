// Not built: the definitions of its kinds are in its sources.
module cloudimages.dev/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
