package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/cmd/internal/coredump"
	"github.com/bursar-sts/bursar/cmd/internal/serve"
	"github.com/bursar-sts/bursar/cmd/internal/strict"
)

func (p *program) serveCommand() *cobra.Command {
	var path string
	cmd := command("serve [--config FILE]", "Run the server", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			c, secrets, err := openConfig(path)
			if err != nil {
				return err
			}
			logger := slog.New(slog.NewJSONHandler(p.err, nil))
			strict.Forget(c.Sources()...)
			if err := coredump.Forbid(); err != nil {
				logger.WarnContext(ctx, "a core file of this process would hold its keys", "error", err)
			}
			s, err := serve.Start(ctx, serve.Config{Config: c, Secrets: secrets, Version: version().Version, Logger: logger})
			if err != nil {
				return err
			}
			logger.InfoContext(ctx, "serving", "listen", s.Address(), "base_url", c.BaseURL)
			return s.Run(ctx)
		})
	p.configFlag(cmd, &path)
	return cmd
}
