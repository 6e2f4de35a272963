module payments.sandbox/toolchain/crds

go 1.26.8

// Sources only: their CRD files are read, nothing of them is compiled.
require (
	github.com/cert-manager/cert-manager v1.20.0 // indirect
	github.com/envoyproxy/gateway v1.9.0 // indirect
	github.com/kedacore/keda/v2 v2.20.2 // indirect
	github.com/prometheus-operator/prometheus-operator v0.93.1 // indirect
	sigs.k8s.io/gateway-api v1.6.1 // indirect
)
