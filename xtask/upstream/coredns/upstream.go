//go:build tools

// Package upstream pins what this project builds from github.com/coredns/coredns.
package upstream

import (
	_ "github.com/coredns/coredns"
)
