package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed testdata/profiler.go
var profilerSource []byte

//go:embed testdata/forgetful.go
var forgetfulSource []byte

// build makes the programs. Where a profile is wanted, a file that serves profiles is laid over the folders of those
// that are profiled for the compiler; the repository's own program has no profiler.
func (w *world) build(ctx context.Context) error {
	return w.compile(ctx, w.dir, nil, "cmd/bursar", "cmd/bursar-shim", "e2e/issuer", "e2e/bench/plain")
}

// forgetfulBursar is the program whose shim records nothing.
const forgetfulBursar = "bursar-forgetful"

// buildForgetful makes a program whose shim has a log that forgets. It is the one that is shipped, but for that line.
func (w *world) buildForgetful(ctx context.Context) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	const folder, line = "cmd/internal/serve", "Log: s.log,"
	text, err := os.ReadFile(filepath.Join(root, folder, "shim.go"))
	if err != nil {
		return err
	}
	if strings.Count(string(text), line) != 1 {
		return fmt.Errorf("%s/shim.go does not give the shim its log where it did", folder)
	}
	forgetful := strings.Replace(string(text), line, "Log: forgetful{s.log},", 1)
	return w.compile(ctx, w.program(forgetfulBursar), map[string][]byte{folder + "/shim.go": []byte(forgetful),
		folder + "/bench_forgetful.go": forgetfulSource}, "cmd/bursar")
}

// compile makes programs, with some files laid over those of the repository (go help build, -overlay).
func (w *world) compile(ctx context.Context, out string, files map[string][]byte, folders ...string) error {
	laid := maps.Clone(files)
	if w.profiled {
		if laid == nil {
			laid = map[string][]byte{}
		}
		for _, folder := range []string{"cmd/bursar", "cmd/bursar-shim", "e2e/bench/plain"} {
			laid[folder+"/bench_profiler.go"] = profilerSource
		}
	}
	args := []string{"build", "-buildvcs=false", "-trimpath", "-o", out}
	if len(laid) > 0 {
		overlay, err := w.overlay(ctx, laid)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	for _, folder := range folders {
		args = append(args, module+"/"+folder)
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// overlay writes what makes the compiler see other files in the place of some, by their paths within the repository.
func (w *world) overlay(ctx context.Context, files map[string][]byte) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(w.dir, "overlay-")
	if err != nil {
		return "", err
	}
	replaced := map[string]string{}
	for path, text := range files {
		source := filepath.Join(dir, strings.ReplaceAll(path, "/", "-"))
		if err := os.WriteFile(source, text, 0o600); err != nil {
			return "", err
		}
		replaced[filepath.Join(root, path)] = source
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

func moduleRoot(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}
