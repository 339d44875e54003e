//go:build tools

// Package upstream pins what this project builds from github.com/k3s-io/kine.
package upstream

import (
	_ "github.com/k3s-io/kine"
)
