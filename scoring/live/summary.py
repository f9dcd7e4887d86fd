"""What is told of a video when it has been scored."""

from typing import Any


def as_text(result: dict[str, Any]) -> str:
    """Return a few lines about one video."""
    lines = [
        f"{result['source']}: {result['frames']} frames in {result['seconds']:.1f} s "
        f"({result['frames_per_second']:.1f} frames/s){_alarms(result)}"
    ]
    if result["unscored_frames"]:
        lines.append(f"  {result['unscored_frames']} frames have no score: fewer than a clip lay between two gaps")
    if result.get("dropped"):
        lines.append(f"  {result['dropped']} of {result['received']} frames came faster than they could be scored: dropped")
    if "delay_seconds" in result:
        delay = result["delay_seconds"]
        lines.append(f"  from frame to written score: {delay['mean']:.2f} s on average, {delay['most']:.2f} s at most")
    rates = [
        f"{name} {'-' if part['frames_per_second'] is None else format(part['frames_per_second'], '.0f')}"
        for name, part in result["parts"].items()
    ]
    lines.append(f"  frames/s of each part: {', '.join(rates)}")
    return "\n".join(lines)


def _alarms(result: dict[str, Any]) -> str:
    highest = result["highest"]
    if highest is None:
        return ""
    peak = f"highest score {highest['score']:.2f} at frame {highest['frame']}"
    if result["alarms"] is None:
        return f", {peak}"
    return f", {result['alarms']} alarms on {result['alarm_frames']} frames, {peak}"
