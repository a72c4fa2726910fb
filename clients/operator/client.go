package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bursar-sts/bursar/scopes"
)

// MaxFile bounds a tenant file, in bytes.
const MaxFile = 1 << 20

// maxAnswer bounds what is read of a response: a page of MaxEvents events of the largest size fits.
const maxAnswer = 32 << 20

// callTimeout bounds a call, in addition to the caller's context and to the time that Events asks the server to wait.
const callTimeout = 30 * time.Second

// ErrNoAnswer is wrapped by every error that leaves open what the server did: it was not reached, its answer did not
// arrive whole, or the answer was not one of the admin API. A *Problem is an answer.
var ErrNoAnswer = errors.New("no answer from the server")

// Client calls the admin API of one server. Its fields must not change while it is in use; it is safe for concurrent
// use. The zero Client refuses every call. It prints as "[operator client]".
type Client struct {
	// BaseURL is the server's origin, such as https://sts.example. Required. Plain http is accepted for loopback only,
	// since every call carries the token (scopes.CheckURL).
	BaseURL string
	// Token is the operator token. Required, except for OpenAPI and Ready.
	Token string `json:"-"`
	// HTTP sends the requests; nil means a client with Go's default transport. Its CheckRedirect is not used:
	// redirects are never followed, because the token would travel along.
	HTTP *http.Client
}

const redacted = "[operator client]"

// Format hides what is inside from every verb of package fmt.
func (Client) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides what is inside from package slog.
func (Client) LogValue() slog.Value { return slog.StringValue(redacted) }

// call is one request, or the mistake in its arguments.
type call struct {
	method string
	path   []string // segments below the origin, unescaped
	query  url.Values
	body   []byte        // nil is none
	media  string        // of the body
	accept string        // the media types of a good answer; "" is JSON
	wait   time.Duration // that the server may take longer
	public bool          // sent without the token
	err    error         // set: the call is not sent
}

// api returns a call below /admin/v1.
func api(method string, segments ...string) call {
	return call{method: method}.below("admin", "v1").below(segments...)
}

// at returns a call below one tenant.
func at(method, tenant string, segments ...string) call {
	return api(method, "t").slug("tenant", tenant).below(segments...)
}

// below appends segments to the path. Whatever they hold, the path stays below what it was.
func (k call) below(segments ...string) call {
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			k.err = cmp.Or(k.err, fmt.Errorf("%q cannot be part of a path", s))
		}
	}
	k.path = slices.Concat(k.path, segments)
	return k
}

// slug appends the id of an object of the given kind to the path.
func (k call) slug(kind, id string) call {
	if err := scopes.CheckSlug(id); err != nil {
		k.err = cmp.Or(k.err, fmt.Errorf("the name of the %s %w", kind, err))
	}
	return k.below(id)
}

// with makes v the JSON body.
func (k call) with(v any) call {
	body, err := json.Marshal(v)
	k.body, k.media, k.err = body, "application/json", cmp.Or(k.err, err)
	return k
}

// do sends the call and decodes a successful answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	resp, body, err := c.ask(ctx, k)
	if err != nil || out == nil {
		return err
	}
	if !isMedia(resp, "application/json") {
		return fmt.Errorf("%w: the response is not JSON; is this a bursar server?", ErrNoAnswer)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%w: the response is not what this call answers: %w", ErrNoAnswer, err)
	}
	return nil
}

// ask sends the call and returns a successful answer with its body, which is read.
func (c *Client) ask(ctx context.Context, k call) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+k.wait)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.sender().Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer resp.Body.Close()
	body, err := readAnswer(resp)
	if err == nil && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		err = problem(resp, body)
	}
	return resp, body, err
}

// readAnswer reads the body of an answer.
func readAnswer(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%w: read the response: %w", ErrNoAnswer, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%w: the response is larger than %d bytes", ErrNoAnswer, maxAnswer)
	}
	return body, nil
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	if k.err != nil {
		return nil, k.err
	}
	target, err := c.origin()
	if err != nil {
		return nil, err
	}
	for _, segment := range k.path {
		target.Path += "/" + segment
		target.RawPath += "/" + url.PathEscape(segment)
	}
	target.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, target.String(), bytes.NewReader(k.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", cmp.Or(k.accept, "application/json")+", "+problemMedia)
	if k.media != "" {
		req.Header.Set("Content-Type", k.media)
	}
	if !k.public {
		if c.Token == "" {
			return nil, errors.New("an operator token is required")
		}
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return req, nil
}

// origin returns BaseURL, checked. Calls carry the token, so that it must be safe to send one there.
func (c *Client) origin() (*url.URL, error) {
	base := strings.TrimSuffix(c.BaseURL, "/")
	if err := scopes.CheckURL(base, scopes.Origin); err != nil {
		return nil, fmt.Errorf("the server %w", err)
	}
	return url.Parse(base)
}

// sender returns the HTTP client, with redirects turned off.
func (c *Client) sender() *http.Client {
	sender := http.Client{}
	if c.HTTP != nil {
		sender = *c.HTTP
	}
	sender.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &sender
}

func isMedia(resp *http.Response, want string) bool {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && media == want
}

// items is the shape of every list.
type items[T any] struct {
	Items []T `json:"items"`
}

// one makes a call that answers one T.
func one[T any](ctx context.Context, c *Client, k call) (*T, error) {
	answer := new(T)
	if err := c.do(ctx, k, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// list makes a call that answers a list.
func list[T any](ctx context.Context, c *Client, k call) ([]T, error) {
	var answer items[T]
	err := c.do(ctx, k, &answer)
	return answer.Items, err
}
