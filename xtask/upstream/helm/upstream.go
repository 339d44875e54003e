//go:build tools

// Package upstream pins what this project builds from helm.sh/helm/v4.
package upstream

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
