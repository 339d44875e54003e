//go:build tools

// Package upstream pins what this project builds from sigs.k8s.io/metrics-server.
package upstream

import (
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
