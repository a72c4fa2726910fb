package port

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/bursar-sts/bursar/cmd/internal/strict"
	"github.com/bursar-sts/bursar/server/decide"
)

// OpenDoor listens where front proxies ask. The port has no Server yet.
func OpenDoor(name string, d strict.Door, lock strict.Lock, logger *slog.Logger) (*Port, error) {
	door := decide.Door{Address: d.Listen, Clients: lock.Clients, Names: d.Clients}
	if path, is := d.Socket(); is {
		door = decide.Door{Socket: path}
	}
	if first := lock.Certificate; first != nil {
		door.Certificate = NewCertificate(d.TLS, first, logger, time.Now).Get
	}
	l, err := door.Open()
	if err != nil {
		return nil, fmt.Errorf("listen for front proxies (%s): %w", name, err)
	}
	return &Port{Name: name, Listener: l}, nil
}
