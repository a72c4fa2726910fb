package main

import (
	"fmt"
	"html"
	"strings"
)

// The measures of the chart, in pixels.
const (
	chartWidth = 900
	labelWidth = 330
	plotWidth  = chartWidth - labelWidth - 70
	barHeight  = 14
	rowHeight  = 46
	chartTop   = 70
)

var storeColors = map[string]string{"embedded": "#2a6f97", "Redis": "#e07a5f"}

// chart draws operations per core-second as bars from zero on one linear scale, with a mark where a budget is and a
// dashed line for each peer.
func (r *report) chart() string {
	most := 1.0
	var names []string
	for _, f := range r.Rows {
		most = max(most, f.PerCoreSecond, f.Budget)
		if len(names) == 0 || names[len(names)-1] != f.Row {
			names = append(names, f.Row)
		}
	}
	at := func(n float64) float64 { return labelWidth + n/most*plotWidth }
	bottom := chartTop + rowHeight*len(names)
	height := bottom + 30 + 16*len(peers)

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, height)
	label(&b, 12, 24, "start", 16, "Operations per core-second (more is better)")
	x := 12.0
	for _, store := range []string{"embedded", "Redis"} {
		fmt.Fprintf(&b, `<rect x="%.0f" y="38" width="12" height="12" fill="%s"/>`+"\n", x, storeColors[store])
		label(&b, x+18, 48, "start", 12, store)
		x += 100
	}
	fmt.Fprintf(&b, `<rect x="%.0f" y="38" width="3" height="12" fill="#111"/>`+"\n", x)
	label(&b, x+10, 48, "start", 12, "budget (Redis)")

	for i, p := range peers {
		y := bottom + 20 + 16*i
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#888" stroke-dasharray="4 3"/>`+"\n",
			at(p.perCoreSecond), at(p.perCoreSecond), chartTop-8, y-4)
		label(&b, at(p.perCoreSecond)+5, float64(y), "start", 11, fmt.Sprintf("%s: %s", p.name, thousands(p.perCoreSecond)))
	}
	label(&b, labelWidth-8, float64(bottom+20), "end", 11, "others, exchanges without any log:")

	for i, name := range names {
		top := float64(chartTop + rowHeight*i)
		label(&b, labelWidth-8, top+barHeight+4, "end", 12, name)
		for _, f := range r.Rows {
			if f.Row != name {
				continue
			}
			y := top
			if f.Store == "Redis" {
				y += barHeight + 2
				fmt.Fprintf(&b, `<rect x="%.1f" y="%.0f" width="3" height="%d" fill="#111"/>`+"\n", at(f.Budget)-1, y-2, barHeight+4)
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%.0f" width="%.1f" height="%d" fill="%s"/>`+"\n",
				labelWidth, y, at(f.PerCoreSecond)-labelWidth, barHeight, storeColors[f.Store])
			label(&b, labelWidth+6, y+barHeight-3, "start", 11, thousands(f.PerCoreSecond))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func label(b *strings.Builder, x, y float64, anchor string, size int, text string) {
	color := "#111"
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d" fill="%s">%s</text>`+"\n",
		x, y, anchor, size, color, html.EscapeString(text))
}
