//go:build tools

// Package tools names what khw builds, so that go.mod and go.sum hold all it needs.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/etcdutl/v3"
)
