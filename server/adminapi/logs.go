package adminapi

import (
	"net/http"

	"github.com/bursar-sts/bursar/clients/auditor"
	"github.com/bursar-sts/bursar/clients/operator"
	"github.com/bursar-sts/bursar/server/admin"
	"github.com/bursar-sts/bursar/server/ledger"
)

// logRoutes returns the calls about logs, of a tenant and of the platform alike.
func logRoutes() []route {
	const get, post = http.MethodGet, http.MethodPost
	all, many := []route(nil), typ[items[operator.LogKey]]()
	for name, path := range map[string]string{"": "/t/{tenant}", "Platform": "/platform"} {
		all = append(all, route{method: get, path: path + "/backup", name: "back" + name + "Up", stream: true,
			handle: (*API).backup})
	}
	for name, path := range map[string]string{"": "/t/{tenant}/log", "Platform": "/platform/log"} {
		all = append(all,
			route{method: post, path: path + "/accept-loss", name: "accept" + name + "Loss", answer: typ[operator.Loss](),
				handle: (*API).acceptLoss},
			route{method: post, path: path + "/prune", name: "prune" + name + "Log", body: jsonBody[operator.PruneRequest](),
				answer: typ[operator.Pruned](), handle: (*API).pruneLog},
			route{method: get, path: path + "/keys", name: "list" + name + "LogKeys", answer: many, handle: (*API).logKeys},
			route{method: post, path: path + "/keys/rotate", name: "rotate" + name + "LogKeys", answer: many,
				handle: (*API).rotateLogKeys},
			route{method: post, path: path + "/keys/{kid}/revoke", name: "revoke" + name + "LogKey", answer: many,
				handle: (*API).revokeLogKey})
	}
	return all
}

func (a *API) acceptLoss(c call) (answer, error) {
	loss, err := a.cfg.Service.AcceptLoss(c.ctx, c.op)
	if err != nil {
		return answer{}, err
	}
	return ok(lossOf(loss)), nil
}

func (a *API) pruneLog(c call) (answer, error) {
	r, err := decode[operator.PruneRequest](c.body)
	if err != nil {
		return answer{}, err
	}
	first, err := a.cfg.Service.PruneLog(c.ctx, c.op, r.Index, r.Before)
	return ok(operator.Pruned{First: first}), err
}

func (a *API) backup(c call) (answer, error) {
	write, err := a.cfg.Service.Backup(c.ctx, c.op)
	return answer{status: http.StatusOK, stream: write}, err
}

func lossOf(l *admin.Loss) operator.Loss {
	return operator.Loss{Reason: l.Why, Last: headOf(l.Issuer, l.Last), Kept: l.Kept, Recorded: l.Recorded,
		Now: headOf(l.Issuer, l.Now)}
}

func headOf(issuer string, h ledger.Head) operator.Head {
	return operator.Head{Origin: auditor.Origin(issuer, h.Epoch), Epoch: h.Epoch, Size: h.Size,
		Checkpoint: string(h.Note)}
}

func (a *API) logKeys(c call) (answer, error) {
	all, err := a.cfg.Service.LogKeys(c.ctx, c.op)
	return list(all, logKey), err
}

func (a *API) rotateLogKeys(c call) (answer, error) {
	all, err := a.cfg.Service.RotateLogKeys(c.ctx, c.op)
	return list(all, logKey), err
}

func (a *API) revokeLogKey(c call) (answer, error) {
	all, err := a.cfg.Service.RevokeLogKey(c.ctx, c.op, c.path("kid"))
	return list(all, logKey), err
}

func logKey(k admin.LogKey) operator.LogKey {
	return operator.LogKey{Key: key(k.Key), Use: operator.LogUse(k.Use)}
}
