//go:build tools

// Package upstream pins what this project builds from go.etcd.io/etcd/server/v3.
package upstream

import (
	_ "go.etcd.io/etcd/server/v3"
)
