package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// measured are the figures of the rooms' own benchmarks (go help testflag, -bench), by name and unit, one of each
// round.
type measured map[figure][]float64

// figure names a figure, such as that of Record/nothing in cpu-ns/op.
type figure struct{ name, unit string }

// median returns the median of the rounds; 0 if nothing is known.
func (m measured) median(name, unit string) float64 {
	if len(m[figure{name, unit}]) == 0 {
		return 0
	}
	return median(m[figure{name, unit}])
}

// micros and millis are median for times that a benchmark gives in ns.
func (m measured) micros(name, unit string) float64 { return m.median(name, unit) / 1e3 }
func (m measured) millis(name, unit string) float64 { return m.median(name, unit) / 1e6 }

// spread returns the least and the most of the rounds, in µs.
func (m measured) spread(name, unit string) (least, most float64) {
	all := m[figure{name, unit}]
	return slices.Min(all) / 1e3, slices.Max(all) / 1e3
}

// buildRooms compiles the benchmarks of rooms.
func (w *world) buildRooms(ctx context.Context, rooms ...string) error {
	for _, room := range rooms {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", w.roomBinary(room), module+"/"+room)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the benchmarks of %s: %w\n%s", room, err, out)
		}
	}
	return nil
}

func (w *world) roomBinary(room string) string {
	return filepath.Join(w.dir, filepath.Base(room)+".test")
}

// bench runs benchmarks of a room, n operations each, and adds their figures to m. What they leave behind goes with the
// world.
func (w *world) bench(ctx context.Context, m measured, room, pattern string, n int, args ...string) error {
	args = append([]string{"-test.run", "^$", "-test.bench", pattern, "-test.benchtime", fmt.Sprint(n) + "x",
		"-test.timeout", "30m"}, args...)
	cmd := exec.CommandContext(ctx, w.roomBinary(room), args...)
	cmd.Dir, cmd.Env = w.dir, append(os.Environ(), "TMPDIR="+w.dir, "BURSAR_BENCH_EXPORT="+w.exported())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("benchmark %s of %s: %w\n%s", pattern, room, err, out)
	}
	if !m.read(out) {
		return fmt.Errorf("benchmark %s of %s told nothing:\n%s", pattern, room, out)
	}
	return nil
}

// exported is where the long log is exported to.
func (w *world) exported() string { return filepath.Join(w.dir, "export.tar") }

// read adds the figures that benchmarks have printed: on a line, the name, the number of operations, and pairs of a
// figure and its unit. It reports whether there were any.
func (m measured) read(out []byte) (some bool) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if at := strings.LastIndexByte(name, '-'); at > 0 { // the number of processors, if it is not 1
			if _, err := strconv.Atoi(name[at+1:]); err == nil {
				name = name[:at]
			}
		}
		for pair := range slices.Chunk(fields[2:], 2) {
			value, err := strconv.ParseFloat(pair[0], 64)
			if err != nil || len(pair) < 2 {
				break
			}
			key := figure{name, pair[1]}
			m[key], some = append(m[key], value), true
		}
	}
	return some
}
