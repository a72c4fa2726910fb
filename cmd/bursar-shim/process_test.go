package main

import (
	"context"
	"testing"
)

// The server stays closed to tools while the resolver is away: one of them can name it by its address.
func TestTheServerStaysWhereItWasFound(t *testing.T) {
	var w whereabouts
	found := w.find(t.Context(), "http://localhost:8080")
	if len(found) == 0 || !found[0].Addr().IsLoopback() || found[0].Port() != 8080 {
		t.Fatalf("found at %v", found)
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if again := w.find(away, "http://server.invalid:8080"); len(again) != len(found) {
		t.Errorf("found at %v then", again)
	}
}
