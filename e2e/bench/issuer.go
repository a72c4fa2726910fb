package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// issuer is a process that issues identity tokens.
type issuer struct{ url string }

// audience is the aud of all subject tokens; the tenant accepts it on both stores, so that one token serves both.
const audience = "https://sts.example/t/acme"

func (w *world) startIssuer(kind string) (*issuer, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(w.dir, kind+".out")
	if err := w.run(out, nil, w.program("issuer"), "-kind", kind, "-listen", address, "-audience", audience); err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + address}
	err = eventually(context.Background(), func() bool {
		text, err := os.ReadFile(out)
		return err == nil && strings.TrimSpace(string(text)) == i.url
	})
	if err != nil {
		return nil, fmt.Errorf("start the %s issuer: %w", kind, err)
	}
	return i, nil
}

// keys returns the issuer's JWK Set.
func (i *issuer) keys(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+"/.well-known/openid-configuration", nil)
	if err != nil {
		return "", err
	}
	var metadata struct {
		JWKSURI string `json:"jwks_uri"`
	}
	text, err := fetch(req)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal([]byte(text), &metadata); err != nil {
		return "", err
	}
	if req, err = http.NewRequestWithContext(ctx, http.MethodGet, metadata.JWKSURI, nil); err != nil {
		return "", err
	}
	return fetch(req)
}

// mint returns n different tokens, all signed with ES256.
func (i *issuer) mint(ctx context.Context, n int) ([]string, error) {
	tokens := make([]string, n)
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, minters)
	for range minters {
		group.Go(func() {
			for at := next.Add(1) - 1; at < int64(n); at = next.Add(1) - 1 {
				var err error
				if tokens[at], err = i.mintOne(ctx); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		return nil, fmt.Errorf("mint subject tokens: %w", err)
	default:
		return tokens, nil
	}
}

const minters = 8

func (i *issuer) mintOne(ctx context.Context) (string, error) {
	body, err := json.Marshal(map[string]string{"alg": "ES256", "lifetime": "1h"})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url+"/mint", strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	return fetch(req)
}

// fetch returns the text of an answer.
func fetch(req *http.Request) (string, error) {
	resp, err := keepAlive.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, answer)
	}
	return strings.TrimSpace(string(answer)), err
}

var keepAlive = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: minters, DisableCompression: true}}
