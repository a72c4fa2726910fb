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
	const post = http.MethodPost
	var all []route
	for name, path := range map[string]string{"": "/t/{tenant}/log", "Platform": "/platform/log"} {
		all = append(all,
			route{method: post, path: path + "/accept-loss", name: "accept" + name + "Loss", answer: typ[operator.Loss](),
				handle: (*API).acceptLoss})
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

func lossOf(l *admin.Loss) operator.Loss {
	return operator.Loss{Reason: l.Why, Last: headOf(l.Issuer, l.Last), Kept: l.Kept, Now: headOf(l.Issuer, l.Now)}
}

func headOf(issuer string, h ledger.Head) operator.Head {
	return operator.Head{Origin: auditor.Origin(issuer, h.Epoch), Epoch: h.Epoch, Size: h.Size,
		Checkpoint: string(h.Note)}
}
