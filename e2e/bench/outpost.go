package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// outpost is a bursar-shim on the Redis of a bursar that is no shim, on one core, too.
type outpost struct {
	target
	dir     string
	program string
}

// outpostPassword is the one of the user that it has of the Redis.
const outpostPassword = "password-of-the-bench"

// newOutpost makes the key, the Redis user and the configuration of a shim for acme, which is reached at an address,
// and serves it.
func (w *world) newOutpost(ctx context.Context, s *server, address string) (*outpost, error) {
	o := &outpost{target: target{address: address}, dir: filepath.Join(w.dir, "outpost"),
		program: w.program("bursar-shim")}
	if err := os.Mkdir(o.dir, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, s.program, "keys", "shim", "--tenants", "acme", "-o",
		filepath.Join(o.dir, "shim.key"), "--json")
	cmd.Env = append(os.Environ(), "BURSAR_SERVER=http://"+s.address,
		"BURSAR_TOKEN_FILE="+filepath.Join(s.dir, "admin.token"))
	out, err := cmd.Output()
	var made struct {
		ACL []string `json:"redis_acl"`
	}
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil || len(made.ACL) == 0 {
		return nil, fmt.Errorf("bursar keys shim: %w\n%s", err, out)
	}
	rights := strings.Join(append([]string{"ACL SETUSER bench >" + outpostPassword}, made.ACL[1:]...), " ")
	if _, err := ask(w.redis, rights, 1); err != nil {
		return nil, fmt.Errorf("make the shim's Redis user: %w", err)
	}
	if o.profiler, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := o.configure(w.redis, s.address); err != nil {
		return nil, err
	}
	_, err = o.serve(ctx)
	return o, err
}

func (o *outpost) configure(redis, server string) error {
	text := fmt.Sprintf("listen: %q\nurl: \"http://%s/shim\"\nbase_url: \"http://%s\"\nstore: redis://bench@%s\n"+
		"store_password: file:redis.password\nshim_key: file:shim.key\nlimits: {address: 1000000/s, tenant: 1000000/s}\n"+
		"tenants: {acme: {private_cidrs: [127.0.0.0/8]}}\n", o.address, o.address, server, redis)
	for name, content := range map[string]string{"shim.yaml": text, "redis.password": outpostPassword + "\n"} {
		if err := os.WriteFile(filepath.Join(o.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serve starts the process and returns how long it took until it said that it was ready.
func (o *outpost) serve(ctx context.Context) (time.Duration, error) {
	out, err := os.OpenFile(filepath.Join(o.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	began := time.Now()
	env := []string{"GOMAXPROCS=1", "BURSAR_BENCH_PROFILER=" + o.profiler}
	o.process, err = start(out, env, o.program, "--config", filepath.Join(o.dir, "shim.yaml"))
	if err != nil {
		return 0, err
	}
	if err := eventually(ctx, o.ready); err != nil {
		text, _ := os.ReadFile(out.Name())
		return 0, fmt.Errorf("start bursar-shim: %w\n%s", err, text)
	}
	return time.Since(began), nil
}

func (o *outpost) ready() bool {
	resp, err := http.Get("http://" + o.address + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (o *outpost) stop() {
	if o.process != nil {
		o.process.stop()
		o.process = nil
	}
}

// starts measures how often a start of the shim takes how long, in ms.
func (o *outpost) starts(ctx context.Context, n int) (took []float64, err error) {
	for range n {
		o.stop()
		d, err := o.serve(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, millis(d))
	}
	return took, nil
}
