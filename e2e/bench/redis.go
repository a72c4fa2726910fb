package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startRedis starts a Redis with an append-only file that is synced every second, and returns its address and the
// setting as Redis itself tells it.
func (w *world) startRedis(ctx context.Context) (address, setting string, err error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return "", "", fmt.Errorf("a real Redis is needed (apt-get install redis-server): %w", err)
	}
	if address, err = freeAddress(); err != nil {
		return "", "", err
	}
	dir, err := os.MkdirTemp(w.dir, "redis-")
	if err != nil {
		return "", "", err
	}
	_, port, _ := net.SplitHostPort(address)
	if err := w.run(filepath.Join(dir, "out"), nil, "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec"); err != nil {
		return "", "", err
	}
	err = eventually(ctx, func() bool {
		_, err := ask(address, "PING", 1)
		return err == nil
	})
	if err != nil {
		return "", "", fmt.Errorf("start redis-server: %w", err)
	}
	info, err := ask(address, "INFO server", 3) // length, heading, version
	if err != nil {
		return "", "", err
	}
	version, _ := strings.CutPrefix(info[2], "redis_version:")
	for _, name := range []string{"appendonly", "appendfsync"} {
		lines, err := ask(address, "CONFIG GET "+name, 5) // count, length, name, length, value
		if err != nil {
			return "", "", err
		}
		setting += ", " + name + " " + lines[4]
	}
	return address, version + setting, nil
}

// ask sends one inline command and returns the first lines of the answer.
func ask(address, command string, lines int) ([]string, error) {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	answer := make([]string, lines)
	for i := range answer {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		answer[i] = strings.TrimSpace(line)
	}
	if strings.HasPrefix(answer[0], "-") {
		return nil, fmt.Errorf("%s: %s", command, answer[0])
	}
	return answer, nil
}
