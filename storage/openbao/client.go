// Package openbao keeps the values of secrets in OpenBao, or in HashiCorp Vault, whose HTTP API is the same: in its KV
// engine of version 2. It also has the master key sealed by its transit engine, so that the key never leaves there.
//
// The address that was configured is the only one that is ever asked: redirections are refused, environment variables
// and proxies are not looked at. Errors hold no value, no token and no text of the other server.
package openbao

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// Config is how an OpenBao is reached.
type Config struct {
	Address string         // an origin: https, or http on loopback
	Roots   *x509.CertPool // whom its certificate is trusted by; nil for the system's
	// Namespace is where the login is; empty for the root.
	Namespace string
	Login     Login
	Logger    *slog.Logger
	// Timeout bounds one request, from dialling to the end of the answer; 0 is DefaultTimeout.
	Timeout time.Duration
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

// DefaultTimeout is how long a request may take.
const DefaultTimeout = 3 * time.Second

// maxAnswer bounds the body of an answer, in bytes: a value has at most 32 KiB, and JSON makes at most six times that
// of it.
const maxAnswer = 256 << 10

// Client is a connection to an OpenBao. It logs in by itself, and keeps its token alive until Close. It is safe for
// concurrent use.
type Client struct {
	cfg     Config
	api     *api.Client // without a token
	session *session
	idle    interface{ CloseIdleConnections() }
}

// New returns a client that has not asked anything yet.
func New(cfg Config) (*Client, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := cfg.Login.check(); err != nil {
		return nil, fmt.Errorf("openbao: %w", err)
	}
	base := &http.Transport{ // no Proxy: none of the environment's
		DialContext:           (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
		TLSHandshakeTimeout:   cfg.Timeout,
		ResponseHeaderTimeout: cfg.Timeout,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          32,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
	}
	settings := api.NewConfig() // which looks at no environment variable
	settings.Address = cfg.Address
	settings.HttpClient = &http.Client{Transport: wire{base}, CheckRedirect: refuseRedirect}
	settings.DisableRedirects = true
	settings.Timeout = cfg.Timeout
	settings.MaxRetries = 0
	settings.CheckRetry = func(context.Context, *http.Response, error) (bool, error) { return false, nil }
	library, err := api.NewClient(settings)
	if err != nil {
		return nil, errors.New("openbao: the address cannot be used")
	}
	c := &Client{cfg: cfg, api: library, idle: base}
	c.session = newSession(c)
	return c, nil
}

// Close ends the session, and gives its token back if it was got by a login.
func (c *Client) Close(ctx context.Context) {
	c.session.close(ctx)
	c.idle.CloseIdleConnections()
}

// Check logs in, unless that is done. The error says what is wrong with the configuration, or that the server is away:
// Away tells these apart.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.session.token(ctx)
	return err
}

// call is one request to the library.
type call func(context.Context, *api.Logical) (*api.Secret, error)

// do makes a call in a namespace, logged in. If the token is refused, another one is got, once.
func (c *Client) do(ctx context.Context, namespace, what string, make call) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	token, err := c.session.token(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := c.as(ctx, namespace, token, what, make)
	if statusOf(err) == http.StatusForbidden {
		another, renewed := c.session.another(ctx, token)
		if renewed {
			return c.as(ctx, namespace, another, what, make)
		}
	}
	return answer, err
}

// as makes a call with a token, or without one. The answer is nil for what does not exist.
func (c *Client) as(ctx context.Context, namespace, token, what string, make call) (*api.Secret, error) {
	one := c.api.WithNamespace(namespace) // a copy
	one.SetToken(token)
	answer, err := make(ctx, one.Logical())
	if err != nil {
		return nil, explain(what, err)
	}
	return answer, nil
}

// wire sends a request and judges the answer before the library sees it.
type wire struct{ base http.RoundTripper }

var (
	errRedirect = errors.New("it answers with a redirection, which is not followed")
	errTooLong  = errors.New("its answer is longer than any that is expected")
)

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode/100 == 3:
		err = errRedirect
	case resp.ContentLength > maxAnswer:
		err = errTooLong
	default:
		resp.Body = &bounded{ReadCloser: resp.Body, left: maxAnswer}
		return resp, nil
	}
	_ = resp.Body.Close() // what is in it is of no use
	return nil, err
}

func refuseRedirect(*http.Request, []*http.Request) error { return errRedirect }
