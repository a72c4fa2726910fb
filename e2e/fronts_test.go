package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bursar-sts/bursar/e2e/harness"
	"github.com/bursar-sts/bursar/storage/storagetest"
)

// front is a proxy of somebody else's that asks bursar, as docs/examples configures it.
type front struct {
	name    string
	program string
	files   []string // of docs/examples; the first is the configuration
	listen  string   // what that says of where agents come in
	to      string   // the same with %s in place of the port
	away    int      // the status that an agent gets while bursar is away
	// own are further texts of the files, and what a folder of their own makes of them.
	own func(dir string) map[string]string
	// args start the program with its configuration, in the foreground.
	args func(dir, config string) []string
}

var fronts = []front{
	{name: "nginx", program: "nginx", files: []string{"nginx.conf"}, listen: "listen 127.0.0.1:9180;",
		to: "listen 127.0.0.1:%s;", away: 500,
		own: func(dir string) map[string]string {
			temp := ""
			for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				temp += "    " + kind + "_temp_path " + dir + "/" + kind + ";\n"
			}
			return map[string]string{"/run/nginx.pid": dir + "/nginx.pid", "/var/log/nginx/": dir + "/",
				"user www-data;": "user " + me() + ";", "\nhttp {\n": "\nhttp {\n" + temp}
		},
		args: func(dir, config string) []string {
			return []string{"-e", dir + "/error.log", "-c", config, "-g", "daemon off;"}
		}},
	{name: "Caddy", program: "caddy", files: []string{"Caddyfile"}, listen: ":9280 {", to: ":%s {", away: 502,
		args: func(_, config string) []string {
			return []string{"run", "--config", config, "--adapter", "caddyfile"}
		}},
	{name: "HAProxy", program: "haproxy", files: []string{"haproxy.cfg", "bursar.lua"}, listen: "bind 127.0.0.1:9380",
		to: "bind 127.0.0.1:%s", away: 503,
		own: func(dir string) map[string]string {
			return map[string]string{"/etc/haproxy/": dir + "/", "    user haproxy\n    group haproxy\n": ""}
		},
		args: func(_, config string) []string { return []string{"-f", config} }},
}

// me is the user who runs the tests, and whose processes have to open the socket.
func me() string {
	u, err := user.Current()
	if err != nil {
		return "root"
	}
	return u.Username
}

// find returns where the program is. The everyday loop does without it.
func (f front) find(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath(f.program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + f.program) // which is not in everybody's path
	}
	switch {
	case err == nil:
	case harness.Full():
		t.Fatalf("%s is not installed; make tools does that", f.program)
	default:
		t.Skipf("%s is not installed; make tools does that", f.program)
	}
	return path
}

// start serves the example from a folder of its own, with other places and addresses, and returns the front's URL.
func (f front) start(t *testing.T, dir string, with map[string]string) string {
	t.Helper()
	program := f.find(t)
	port := strconv.Itoa(storagetest.FreePort(t))
	changes := map[string]string{f.listen: strings.Replace(f.to, "%s", port, 1)}
	add := func(more map[string]string) {
		for from, to := range more {
			changes[from] = to
		}
	}
	add(with)
	if f.own != nil {
		add(f.own(dir))
	}
	for i, name := range f.files {
		text := readFile(t, filepath.Join("..", "docs", "examples", name))
		for from, to := range changes {
			if i == 0 && !strings.Contains(text, from) {
				t.Fatalf("%s does not hold %q", name, from)
			}
			text = strings.ReplaceAll(text, from, to)
		}
		write(t, filepath.Join(dir, name), text)
	}
	// Caddy keeps what it was told in the home of whoever runs it.
	args := append([]string{"XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir, program},
		f.args(dir, filepath.Join(dir, f.files[0]))...)
	harness.Run(t, filepath.Join(dir, "output.log"), "env", args...)
	address := "127.0.0.1:" + port
	harness.Eventually(t, f.name+" listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "http://" + address
}

// folder makes a folder with a name that is short enough for sockets in it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "front-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
