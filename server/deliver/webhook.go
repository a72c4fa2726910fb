package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Headers of a delivery beside those of RFC 8935. Together they tell a receiver what it has had already, and what it
// has missed.
const (
	HeaderOrigin = "Bursar-Log-Origin"
	HeaderIndex  = "Bursar-Log-Index"
)

const (
	answerTime = 10 * time.Second // for one delivery
	series     = 3 * time.Second  // of deliveries in one Give
	maxAnswer  = 4 << 10          // bytes of an answer that are read
)

// WebhookConfig says where a webhook is.
type WebhookConfig struct {
	URL     string            // https, or http on loopback
	Headers map[string]string // sent with each delivery
	RootCAs *x509.CertPool    // whom the receiver's certificate is trusted by; nil for the system's
}

// Webhook is a sink that pushes each event in a request of its own (RFC 8935): the SET as it was recorded. Its audience
// is the log (iss and "/log"); nothing is signed anew for the receiver, so that what it has is what the log's tree and
// keys speak for.
type Webhook struct {
	cfg    WebhookConfig
	client *http.Client
}

// NewWebhook returns a webhook. It asks nothing of the receiver, which may be away.
func NewWebhook(cfg WebhookConfig) *Webhook {
	return &Webhook{cfg: cfg, client: NewClient(cfg.RootCAs)}
}

// NewClient returns an HTTP client that sends credentials to the configured place and nowhere else: it follows no
// redirect and uses no proxy.
func NewClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: answerTime,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: workers, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Cause returns what went wrong with a request, without its URL, the path of which may be all that protects a receiver.
func Cause(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// Give pushes the events, one after the other, until one is not taken or some time has passed.
func (w *Webhook) Give(ctx context.Context, b Batch) (given int, err error) {
	for began := time.Now(); given < len(b.Events) && time.Since(began) < series; given++ {
		if err := w.push(ctx, b.Origin, b.Events[given]); err != nil {
			return given, err
		}
	}
	return given, nil
}

func (w *Webhook) push(ctx context.Context, origin string, e Event) error {
	if e.SET == "" {
		return errUnsigned
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, strings.NewReader(e.SET))
	if err != nil {
		return errors.New("the URL of the webhook cannot be used")
	}
	for name, value := range w.cfg.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/secevent+jwt")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "bursar")
	request.Header.Set(HeaderOrigin, origin)
	request.Header.Set(HeaderIndex, strconv.FormatInt(e.Index, 10))
	answer, err := w.client.Do(request)
	if err != nil {
		return fmt.Errorf("push an event: %w", Cause(err))
	}
	defer answer.Body.Close()
	return judge(answer)
}

// refusals are the errors of RFC 8935 §2.4 that are about the event: it will never be taken. The others of the list,
// authentication_failed and access_denied, are about us. They would befall every event, and end when our credential is
// put right.
var refusals = []string{"invalid_request", "invalid_key", "invalid_issuer", "invalid_audience"}

// judge returns what an answer means (RFC 8935 §2.2 to §2.4).
func judge(answer *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case answer.StatusCode == http.StatusAccepted:
		return nil
	case answer.StatusCode != http.StatusBadRequest || err != nil:
		return Answered(answer)
	}
	var failure struct {
		Err string `json:"err"`
	}
	if json.Unmarshal(body, &failure) == nil {
		switch {
		case slices.Contains(refusals, failure.Err):
			return &Refused{Code: failure.Err}
		case failure.Err == "authentication_failed", failure.Err == "access_denied":
			return fmt.Errorf("the receiver answered %s: it does not accept our credential", failure.Err)
		}
	}
	return Answered(answer)
}

// Answered is the error of an answer that does not take what was sent. It heeds Retry-After (RFC 9110 §10.2.3).
func Answered(answer *http.Response) error {
	err := fmt.Errorf("the receiver answered %d", answer.StatusCode)
	text := answer.Header.Get("Retry-After")
	if seconds, bad := strconv.ParseUint(text, 10, 31); bad == nil {
		return &Later{After: time.Duration(seconds) * time.Second, Err: err}
	}
	if at, bad := http.ParseTime(text); bad == nil {
		return &Later{After: time.Until(at), Err: err}
	}
	return err
}

// Close closes idle connections.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}
