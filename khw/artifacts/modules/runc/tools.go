//go:build tools

// Package tools names what khw builds, so that go.mod and go.sum hold all it needs.
package tools

import (
	_ "github.com/opencontainers/runc"
)
