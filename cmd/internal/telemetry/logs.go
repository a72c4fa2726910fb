package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bursar-sts/bursar/server/deliver"
)

// LogsConfig says where log records go. Endpoint is required.
type LogsConfig struct {
	Endpoint string            // the collector's base URL; OTLP over HTTP goes to its path /v1/logs
	Headers  map[string]string // sent with every export
	RootCAs  *x509.CertPool    // whom the collector's certificate is trusted by; the system's
	Version  string            // of the program
	Node     string            // name of this process
}

// Logs is a sink that exports events as log records (OTLP over HTTP, protobuf). It speaks the protocol itself: what a
// sink has must be known exactly, and the error of OpenTelemetry's exporter does not tell a warning from records that
// were rejected, and has the collector's own words in it.
type Logs struct {
	cfg      LogsConfig
	client   *http.Client
	resource *resourcepb.Resource
}

var _ deliver.Sink = (*Logs)(nil)

// NewLogs returns a sink. It asks nothing of the collector, which may be away.
func NewLogs(cfg LogsConfig) *Logs {
	return &Logs{cfg: cfg, client: deliver.NewClient(cfg.RootCAs), resource: &resourcepb.Resource{
		Attributes: []*commonpb.KeyValue{text("service.name", "bursar"), text("service.version", cfg.Version),
			text("service.instance.id", cfg.Node)}}}
}

// errRejected is the error of an answer by which some of the records were rejected for good. OTLP does not tell which.
var errRejected = errors.New("the collector rejects records")

// Give exports the events. If the collector rejects some of them, each is exported by itself, so that the one that it
// rejects is known.
func (l *Logs) Give(ctx context.Context, b deliver.Batch) (given int, err error) {
	err = l.export(ctx, b, b.Events)
	if err == nil {
		return len(b.Events), nil
	}
	if !errors.Is(err, errRejected) {
		return 0, err
	}
	for i := range b.Events {
		err := l.export(ctx, b, b.Events[i:i+1])
		if errors.Is(err, errRejected) {
			err = &deliver.Refused{Code: "rejected"}
		}
		if err != nil {
			return i, err
		}
	}
	return len(b.Events), nil
}

// export sends some of a batch in one request.
func (l *Logs) export(ctx context.Context, b deliver.Batch, events []deliver.Event) error {
	body, err := l.pack(b, events)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		strings.TrimSuffix(l.cfg.Endpoint, "/")+"/v1/logs", bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL of the collector cannot be used")
	}
	for name, value := range l.cfg.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set("User-Agent", "bursar")
	answer, err := l.client.Do(request)
	if err != nil {
		return fmt.Errorf("export log records: %w", deliver.Cause(err))
	}
	defer answer.Body.Close()
	return accepted(answer)
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// accepted returns nil if a collector has taken all records.
func accepted(answer *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if answer.StatusCode != http.StatusOK {
		return deliver.Answered(answer)
	}
	if err != nil {
		return fmt.Errorf("read the collector's answer: %w", err)
	}
	var response collectorpb.ExportLogsServiceResponse
	if proto.Unmarshal(body, &response) != nil {
		return errors.New("what answered is no OTLP collector")
	}
	if response.GetPartialSuccess().GetRejectedLogRecords() > 0 {
		return errRejected
	}
	return nil
}

// pack returns a request, compressed.
func (l *Logs) pack(b deliver.Batch, events []deliver.Event) ([]byte, error) {
	records := make([]*logspb.LogRecord, len(events))
	for i, e := range events {
		records[i] = record(b, e)
	}
	message, err := proto.Marshal(&collectorpb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: l.resource,
		ScopeLogs: []*logspb.ScopeLogs{{
			Scope:      &commonpb.InstrumentationScope{Name: "github.com/bursar-sts/bursar", Version: l.cfg.Version},
			LogRecords: records,
		}},
	}}})
	if err != nil {
		return nil, errors.New("an event cannot be written as a log record")
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(message)
	err = errors.Join(err, w.Close())
	return packed.Bytes(), err
}

// said is what a log record tells of an event beside its claims as a whole.
type said struct {
	JTI    string `json:"jti"`
	IAT    uint64 `json:"iat"`
	TOE    uint64 `json:"toe"`
	Events map[string]struct {
		Outcome string `json:"outcome"`
		Request struct {
			Trace string `json:"trace"`
		} `json:"request"`
	} `json:"events"`
}

// severities are those of outcomes; another one is informative.
var severities = map[string]logspb.SeverityNumber{
	"denied": logspb.SeverityNumber_SEVERITY_NUMBER_WARN,
	"error":  logspb.SeverityNumber_SEVERITY_NUMBER_ERROR,
}

// record returns an event as a log record: its claims as the body, and as attributes what one searches by.
func record(b deliver.Batch, e deliver.Event) *logspb.LogRecord {
	r := &logspb.LogRecord{
		EventName:      e.Name,
		SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_INFO,
		Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{
			StringValue: strings.ToValidUTF8(string(e.Claims), "\uFFFD")}},
		Attributes: []*commonpb.KeyValue{text("event.name", e.Name), text("bursar.log.origin", b.Origin),
			{Key: "bursar.log.index", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: e.Index}}}},
	}
	if b.Log.Slug != "" {
		r.Attributes = append(r.Attributes, text("bursar.tenant", b.Log.Slug))
	}
	var s said
	if json.Unmarshal(e.Claims, &s) != nil {
		return r
	}
	const second = 1e9
	r.TimeUnixNano, r.ObservedTimeUnixNano = s.TOE*second, s.IAT*second
	r.Attributes = append(r.Attributes, text("log.record.uid", s.JTI))
	for _, body := range s.Events {
		if body.Outcome != "" {
			r.Attributes = append(r.Attributes, text("bursar.outcome", body.Outcome))
		}
		if severity, ok := severities[body.Outcome]; ok {
			r.SeverityNumber = severity
		}
		if trace, err := hex.DecodeString(body.Request.Trace); err == nil && len(trace) == 16 {
			r.TraceId = trace
		}
	}
	r.SeverityText = strings.TrimPrefix(r.SeverityNumber.String(), "SEVERITY_NUMBER_")
	return r
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{
		Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// Close closes idle connections.
func (l *Logs) Close() error {
	l.client.CloseIdleConnections()
	return nil
}
