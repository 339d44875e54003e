//go:build tools

// Package upstream pins what this project builds from github.com/rancher/local-path-provisioner.
package upstream

import (
	_ "github.com/rancher/local-path-provisioner"
)
