package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/bursar-sts/bursar/clients/token"
	"github.com/bursar-sts/bursar/scopes"
	"github.com/bursar-sts/bursar/server/dial"
)

// maxRedirects bounds the redirects of one request. They stay within the origin that the configuration names.
const maxRedirects = 2

// fetcher gets one key document. It keeps no connections: documents are minutes apart, and a connection that one
// tenant's ranges allowed must never serve another tenant.
type fetcher struct {
	issuer string // found by discovery if uri is empty
	uri    string
	client *http.Client
}

func newFetcher(at location, guard *dial.Guard, roots *x509.CertPool) *fetcher {
	transport := &http.Transport{
		DialContext:            guard.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true, // a small body could unpack to any size
		MaxResponseHeaderBytes: 16 << 10,
	}
	client := &http.Client{Transport: transport, CheckRedirect: sameOrigin}
	return &fetcher{issuer: at.issuer, uri: at.uri, client: client}
}

func sameOrigin(r *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case r.URL.Scheme != first.Scheme || r.URL.Host != first.Host:
		return errors.New("redirect to another origin")
	}
	return nil
}

// document returns the bytes of the key document. The context bounds everything, discovery and redirects included.
func (f *fetcher) document(ctx context.Context) ([]byte, error) {
	uri := f.uri
	if uri == "" {
		var err error
		if uri, err = f.discover(ctx); err != nil {
			return nil, fmt.Errorf("discover keys: %w", err)
		}
	}
	return f.get(ctx, uri)
}

// discover reads jwks_uri from the issuer's metadata (OpenID Connect Discovery 1.0 §4), which must name the very
// issuer that was asked. The library asks through f, and its errors, which may hold the answer, go no further.
func (f *fetcher) discover(ctx context.Context) (uri string, err error) {
	var failed error
	client := &http.Client{Transport: answers(func(r *http.Request) (data []byte, err error) {
		if data, err = f.get(r.Context(), r.URL.String()); err == nil {
			uri, err = readMetadata(data, f.issuer)
		}
		failed = err
		return data, err
	})}
	_, err = oidc.NewProvider(oidc.ClientContext(ctx, client), f.issuer)
	switch {
	case failed != nil:
		return "", failed
	case err != nil:
		return "", errors.New("metadata is not that of an OpenID Provider")
	}
	return uri, nil
}

// readMetadata returns the jwks_uri of an issuer's metadata. Names of members are exact, which for the library they are
// not.
func readMetadata(data []byte, issuer string) (string, error) {
	var named, uri string
	err := token.Members(data, func(name string, value []byte) error {
		switch name {
		case "issuer":
			return json.Unmarshal(value, &named)
		case "jwks_uri":
			return json.Unmarshal(value, &uri)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case named != issuer:
		return "", errors.New("metadata is about another issuer")
	}
	if err := scopes.CheckURL(uri, scopes.WithQuery); err != nil {
		return "", fmt.Errorf("jwks_uri %w", err)
	}
	if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(uri, "https:") {
		return "", errors.New("jwks_uri of an https issuer is not https")
	}
	return uri, nil
}

// answers is an http.RoundTripper that answers with the bytes of a document.
type answers func(*http.Request) ([]byte, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	data, err := a(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(data)), Request: r}, nil
}

func (f *fetcher) get(ctx context.Context, uri string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	r.Header.Set("User-Agent", "bursar")
	resp, err := f.client.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the URL, whose query may hold what is not for a log
	}
	if err != nil {
		return nil, fmt.Errorf("get keys from %s: %w", r.URL.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get keys from %s: status %d", r.URL.Host, resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("get keys from %s: the answer is larger than %d bytes", r.URL.Host, maxDocument)
	}
	return data, nil
}
