package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bursar-sts/bursar/clients/operator"
)

func (p *program) secretListCommand() *cobra.Command {
	var conn *connection
	var asJSON *bool
	cmd := command("list (TENANT | TENANT/NAME)", "List the secrets, or the versions of one, without their values",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			client, err := conn.open()
			if err != nil {
				return err
			}
			if tenant, name, one := strings.Cut(args[0], "/"); one {
				s, err := client.VaultSecret(ctx, tenant, name)
				if err != nil {
					return whichSecrets(tenant, err)
				}
				return p.showSecret(s, *asJSON)
			}
			all, err := client.VaultSecrets(ctx, args[0])
			if err != nil {
				return err
			}
			return p.showSecrets(all, *asJSON)
		})
	conn, asJSON = p.connect(cmd), jsonFlag(cmd)
	return cmd
}

func (p *program) showSecrets(all *operator.VaultSecrets, asJSON bool) error {
	if asJSON {
		return p.printJSON(all)
	}
	err := show(p, false, all.Items, "SECRET STATE ACTIVE FINGERPRINT HOST INJECT TOOLS SINCE",
		func(s operator.VaultSecret) []string {
			n := used(s)
			return []string{s.Name, string(s.State), number(s.Active), n.Fingerprint, n.Host, strings.Join(n.Inject, ","),
				strings.Join(s.Tools, ","), stamp(n.Since)}
		})
	if err != nil {
		return err
	}
	for _, s := range all.Items {
		switch {
		case s.State == operator.SecretUnreadable:
			p.say("warning", "33", s.Name+": what is stored of it was not written by this server, or was put back; no call "+
				"uses it; bursar secret destroy --all makes room for a new version")
		case len(s.Unbound) > 0:
			p.say("warning", "33", s.Name+": calls of "+strings.Join(s.Unbound, ", ")+" go where it may not go, and are refused")
		}
	}
	if note := sealing(all.DataKey); note != "" {
		_, err = fmt.Fprintln(p.out, note)
	}
	return err
}

// sealing says how far a rotation of the data key has come; nothing if none is under way.
func sealing(k operator.DataKey) string {
	if k.Old == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d secrets are sealed with data key %d; the server seals the others anew, and calls go on",
		k.Secrets-k.Left, k.Secrets, k.Version)
}

// used returns the version that calls use, or else the newest.
func used(s operator.VaultSecret) (n operator.SecretVersion) {
	for i, version := range s.Versions {
		if i == 0 || version.Version == s.Active {
			n = version
		}
	}
	return n
}

func (p *program) showSecret(s *operator.VaultSecret, asJSON bool) error {
	if asJSON {
		return p.printJSON(s)
	}
	err := show(p, false, s.Versions, "VERSION STATE FINGERPRINT SIZE HOST INJECT BY SINCE",
		func(n operator.SecretVersion) []string {
			return []string{number(n.Version), string(n.State), n.Fingerprint, n.Size, n.Host, strings.Join(n.Inject, ","),
				n.By, stamp(n.Since)}
		})
	if err == nil && s.State == operator.SecretDisabled {
		_, err = fmt.Fprintf(p.out, "disabled since %s: every call that needs it is refused\n", stamp(s.Disabled))
	}
	return err
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
