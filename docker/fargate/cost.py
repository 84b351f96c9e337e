"""Cost per 1,000 receipts on Fargate, from measured receipts per second and dated prices.

    cost.py                 prints the table
    cost.py --check PAGE    fails unless PAGE holds exactly this table
    cost.py --write PAGE    puts it there

Rates come from measured.json: receipts per second that one vCPU answered under load, for each model, with the machine.
A task of n vCPU is taken to answer n times as many, as one-thread workers share nothing but memory; at a share of busy
time below 1 the same money buys fewer receipts.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
BEGIN, END = "<!-- cost.py: begin -->", "<!-- cost.py: end -->"


def table(prices, measured):
    lines = [
        f"Prices: {prices['region']}, {prices['date']}. Rates: {measured['date']}, {measured['machine']}.",
        "",
        "| model | task | architecture | receipts/s | $ an hour | $ per 1,000 receipts, always busy | … busy 30 % |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for model in measured["models"]:
        for architecture in model["architectures"]:
            price = prices["architectures"][architecture]
            for size in prices["sizes"]:
                rate = model["receipts_per_second_per_vcpu"] * size["vcpu"]
                hour = size["vcpu"] * price["vcpu_hour"] + size["gb"] * price["gb_hour"]
                thousand = hour / 3600 / rate * 1000
                lines.append(
                    f"| {model['name']} | {size['vcpu']} vCPU, {size['gb']} GB | {architecture} | {rate:.1f} | {hour:.4f} "
                    f"| {thousand:.5f} | {thousand / 0.3:.5f} |"
                )
    return "\n".join(lines)


def main(arguments):
    read = lambda name: json.loads((HERE / name).read_text())
    text = f"{BEGIN}\n{table(read('prices.json'), read('measured.json'))}\n{END}"
    if not arguments:
        return print(text)
    action, page = arguments[0], pathlib.Path(arguments[1])
    before = page.read_text()
    start, end = before.index(BEGIN), before.index(END) + len(END)
    if action == "--write":
        page.write_text(before[:start] + text + before[end:])
    elif before[start:end] != text:
        sys.exit(f"{page} does not hold what docker/fargate/cost.py prints; run it with --write {page}")


if __name__ == "__main__":
    main(sys.argv[1:])
