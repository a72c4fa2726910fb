package operator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// stalled is how long a backup may take to send its next bytes.
const stalled = time.Minute

// Backup copies all that there is of a tenant to w: its configuration, its keys as they are stored, which is sealed by
// the server's master key, its revocations and its log. An error wraps ErrNoAnswer if the copy is not whole. It is read
// by `bursar restore`, on the server's machine. Platform admin.
//
//	GET /t/{tenant}/backup → 200, application/octet-stream
func (c *Client) Backup(ctx context.Context, tenant string, w io.Writer) error {
	return c.copy(ctx, at(http.MethodGet, tenant, "backup"), w)
}

// PlatformBackup does so with what belongs to the platform: the directory of tenants, its operators, and its log. It
// holds no tenant. Platform admin.
//
//	GET /platform/backup → 200, application/octet-stream
func (c *Client) PlatformBackup(ctx context.Context, w io.Writer) error {
	return c.copy(ctx, api(http.MethodGet, "platform", "backup"), w)
}

// copy sends the call and copies the body of the answer.
func (c *Client) copy(ctx context.Context, k call, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(stalled, cancel)
	defer timer.Stop()
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	resp, err := c.sender().Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && !isMedia(resp, "application/octet-stream") {
		return fmt.Errorf("%w: the response is no backup; is this a bursar server?", ErrNoAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("%w: read the response: %w", ErrNoAnswer, err)
		}
		return problem(resp, body)
	}
	for buffer := make([]byte, 64<<10); ; {
		n, err := resp.Body.Read(buffer)
		timer.Reset(stalled)
		if _, failed := w.Write(buffer[:n]); failed != nil {
			return failed
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: the copy is not whole: %w", ErrNoAnswer, err)
		}
	}
}
