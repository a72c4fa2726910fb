//go:build !linux

package coredump

// undumpable does nothing: only Linux has such a flag.
func undumpable() error { return nil }
