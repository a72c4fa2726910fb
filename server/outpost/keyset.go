package outpost

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bursar-sts/bursar/clients/token"
)

const (
	// maxKeys bounds a key set, in bytes.
	maxKeys = 1 << 20
	// revisionHeader is that of the server: of which revision of the tenant's rows its answer is. Without it the server
	// does not vouch for the store.
	revisionHeader = "Bursar-Revision"
)

// newClient returns a client of the server alone: it uses no proxy of the environment and follows nothing elsewhere.
func newClient(roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: time.Second}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           dialer.DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   time.Second,
			ResponseHeaderTimeout: time.Second,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   4,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// keys fetches the keys that the tenant's tokens are verified with, as they are at a revision of its rows or later.
func (d *Directory) keys(ctx context.Context, slug string, revision int64) (
	verify func(compact string, now time.Time) ([]byte, error), err error,
) {
	set, err := d.fetch(ctx, d.cfg.BaseURL+"/t/"+slug+"/jwks.json", revision)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys of %s: %w", slug, err)
	}
	find, err := token.KeySet(set)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys of %s: %w", slug, err)
	}
	key := func(kid string) (jose.JSONWebKey, error) { return find(context.Background(), kid) } // it waits for nothing
	return func(compact string, _ time.Time) ([]byte, error) { return token.Signed(compact, key) }, nil
}

// fetch returns a key set of a revision or a later one. The revision stands in the URL too, so that no cache on the way
// has an answer to it from before.
func (d *Directory) fetch(ctx context.Context, url string, revision int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"?revision="+strconv.FormatInt(revision, 10), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := d.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %d", answer.StatusCode)
	}
	of, err := strconv.ParseInt(answer.Header.Get(revisionHeader), 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the server does not vouch for the tenant's rows: the answer has no %s", revisionHeader)
	case of < revision:
		return nil, fmt.Errorf("the answer is of revision %d, and the store at %d", of, revision)
	}
	set, err := io.ReadAll(io.LimitReader(answer.Body, maxKeys+1))
	if err == nil && len(set) > maxKeys {
		err = errors.New("the answer is too long")
	}
	return set, err
}
