package main

import "github.com/spf13/cobra"

func (p *program) auditCommand() *cobra.Command {
	return group("audit", "Read the log, copy it, verify it, and look after it",
		p.auditTailCommand(), p.auditSearchCommand(), p.auditShowCommand(), p.auditProveCommand(),
		p.auditExportCommand(), p.auditVerifyCommand(), p.auditPruneCommand(),
		p.auditAcceptLossCommand())
}
