package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/cmd/internal/serve"
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
