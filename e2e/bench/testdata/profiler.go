package main

import (
	"log"
	"net/http"
	_ "net/http/pprof" // registers itself
	"os"
)

// The bench lays this file over the program's folder when it takes profiles; see profile.go.
func init() {
	go func() { log.Fatal(http.ListenAndServe(os.Getenv("BURSAR_BENCH_PROFILER"), nil)) }()
}
