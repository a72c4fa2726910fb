package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bursar-sts/bursar/clients/operator"
)

// door is one way for a caller to come to the upstream.
type door struct {
	*target
	name    string
	prefix  string   // of the paths there
	server  *server  // the bursar whose tokens it takes; nil if it takes none
	outpost *outpost // the bursar-shim that it is, if it is one

	credentials string // of the client that gets the tokens
	bearer      string // the token of the round
}

// street is the upstream and the doors to it: the first is the upstream itself, the second the plain proxy.
type street struct {
	world       *world
	url         string // of the upstream
	file        string // with its certificate
	certificate string // PEM
	doors       []*door
}

// The paths of the upstream.
const (
	itemPath   = "/v1/items"
	eventsPath = "/v1/events"
	quietPath  = "/v1/quiet"
)

const shimPrefix = "/shim/t/acme/legacy"

// The names of the doors.
const (
	directDoor    = "the upstream itself"
	plainDoor     = "plain reverse proxy"
	forgetfulDoor = "shim, nothing recorded: nothing but the bench can do so"
	embeddedDoor  = "shim, embedded"
	redisDoor     = "shim, Redis"
	outpostDoor   = "bursar-shim, Redis"
)

// newStreet starts everything that the shim is measured with. It ends with the world.
func (w *world) newStreet(ctx context.Context) (*street, error) {
	if err := w.buildForgetful(ctx); err != nil {
		return nil, err
	}
	if w.redis == "" {
		var err error
		if w.redis, w.redisSetting, err = w.startRedis(ctx); err != nil {
			return nil, err
		}
	}
	x := &street{world: w}
	if err := x.open(ctx); err != nil {
		return nil, err
	}
	for _, d := range []struct {
		name  string
		apart bool
		setup setup
	}{
		{forgetfulDoor, false, setup{store: "embedded", url: "bolt:bursar.db", purpose: "forgetful",
			program: forgetfulBursar}},
		{embeddedDoor, false, setup{store: "embedded", url: "bolt:bursar.db", purpose: "shim"}},
		{redisDoor, false, setup{store: "Redis", url: "redis://" + w.redis + "/2", purpose: "shim"}},
		{outpostDoor, true, setup{store: "Redis", url: "redis://" + w.redis, purpose: "behind"}},
	} {
		if err := x.shim(ctx, d.name, d.apart, d.setup); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return x, nil
}

// open starts the upstream and the plain proxy.
func (x *street) open(ctx context.Context) error {
	x.file = filepath.Join(x.world.dir, "upstream.pem")
	upstream, err := x.world.plain("upstream", x.file)
	if err != nil {
		return err
	}
	if err := eventually(ctx, func() bool { _, err := os.Stat(x.file); return err == nil }); err != nil {
		return fmt.Errorf("start the upstream: %w", err)
	}
	text, err := os.ReadFile(x.file)
	if err != nil {
		return err
	}
	x.url, x.certificate = "https://"+upstream.address, string(text)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return errors.New("the upstream has no certificate")
	}
	upstream.secured = &tls.Config{RootCAs: roots}
	proxy, err := x.world.plain("proxy", x.url, x.file)
	if err != nil {
		return err
	}
	plain := &door{name: plainDoor, prefix: shimPrefix, target: proxy}
	x.doors = append(x.doors, &door{name: directDoor, target: upstream}, plain)
	return plain.answers(ctx)
}

// plain starts a process of the program plain, on one core as the servers.
func (w *world) plain(role string, args ...string) (t *target, err error) {
	t = new(target)
	if t.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if t.profiler, err = freeAddress(); err != nil {
		return nil, err
	}
	env := []string{"GOMAXPROCS=1", "BURSAR_BENCH_PROFILER=" + t.profiler}
	args = append([]string{role, t.address}, args...)
	if err := w.run(filepath.Join(w.dir, role+".out"), env, w.program("plain"), args...); err != nil {
		return nil, err
	}
	t.process = w.processes[len(w.processes)-1]
	return t, nil
}

//go:embed testdata/shim.yaml
var shimFile string

// shim starts a bursar that is a shim, or has one apart, and gives it a tenant with a tool and its key.
func (x *street) shim(ctx context.Context, name string, apart bool, u setup) error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	u.settings = fmt.Sprintf("shim: {listen: %q, url: \"http://%s/shim\"}\n", listen, listen)
	if apart {
		u.settings = fmt.Sprintf("shim: {url: \"http://%s/shim\"}\n", listen)
	}
	s, err := x.world.newServer(ctx, u)
	if err != nil {
		return err
	}
	x.world.servers = append(x.world.servers, s)
	vars := strings.NewReplacer("${resource}", "http://"+listen+shimPrefix, "${upstream}", x.url,
		"${ca}", strings.ReplaceAll(x.certificate, "\n", `\n`))
	if _, err := s.operator.Apply(ctx, "acme", []byte(vars.Replace(shimFile)), operator.ApplyOptions{}); err != nil {
		return fmt.Errorf("apply the tenant: %w", err)
	}
	if _, err := s.operator.PutSecret(ctx, "acme", "legacy-key", operator.SecretRequest{Host: x.url, CA: x.certificate,
		Fields: map[string]string{"value": "sk-live-4Zt7Qa9xLm2Kp8Wv3Nb6Yc1Rd5"}, Activate: true}); err != nil {
		return fmt.Errorf("put the key: %w", err)
	}
	d := &door{name: name, prefix: shimPrefix, server: s,
		target: &target{address: listen, process: s.process, profiler: s.profiler}}
	if d.credentials, err = s.authorization(ctx, "run-bot"); err != nil {
		return err
	}
	if apart {
		if d.outpost, err = x.world.newOutpost(ctx, s, listen); err != nil {
			return err
		}
		x.world.outposts = append(x.world.outposts, d.outpost)
		d.target = &d.outpost.target
	}
	x.doors = append(x.doors, d)
	return nil
}

// door returns the door of a name.
func (x *street) door(name string) *door {
	return x.doors[slices.IndexFunc(x.doors, func(d *door) bool { return d.name == name })]
}

// enter gets each shim's caller a new token. The others are sent the same.
func (x *street) enter(ctx context.Context) error {
	var any string
	for _, d := range x.doors {
		if d.server == nil {
			continue
		}
		if err := d.authorize(ctx); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		any = d.bearer
	}
	for _, d := range x.doors {
		if d.server == nil {
			d.bearer = any
		}
	}
	return nil
}

func (d *door) authorize(ctx context.Context) error {
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {"http://" + d.address + shimPrefix},
		"scope": {"legacy:items.read legacy:feed.read"}}
	tokens, err := d.server.tokens(ctx, []request{post("acme", "token", d.credentials, form)})
	if err == nil {
		d.bearer = tokens[0]
	}
	return err
}

// request returns a call as an agent makes it.
func (d *door) request(path string) request {
	return request("GET " + d.prefix + path + " HTTP/1.1\r\nHost: bench\r\nUser-Agent: agent/1.0\r\n" +
		"Accept: application/json\r\nAuthorization: Bearer " + d.bearer + "\r\n\r\n")
}

// calls returns n calls of the same.
func (d *door) calls(path string, n int) []request { return cycle([]request{d.request(path)}, n) }

// answers waits until the door is open.
func (d *door) answers(ctx context.Context) error {
	err := eventually(ctx, func() bool {
		_, err := d.load(ctx, 1, d.calls(itemPath, 1))
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", d.name, err)
	}
	return nil
}
