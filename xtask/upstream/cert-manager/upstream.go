//go:build tools

// Package upstream pins what this project builds from github.com/cert-manager/cert-manager.
//
// The last minor whose programs are packages of the module itself: from v1.12 on each program is a Go
// module of its own that is published nowhere.
package upstream

import (
	_ "github.com/cert-manager/cert-manager/cmd/cainjector"
	_ "github.com/cert-manager/cert-manager/cmd/controller"
	_ "github.com/cert-manager/cert-manager/cmd/webhook"
)
