"""A bot's process: registers one order that it is about to send, says so, and waits to be killed.

Run as ``python verification_child.py GATEWAY_URL ACCOUNT STATE_FOLDER CLIENT_ORDER_ID TAG``.
"""

import asyncio
import sys

from backstop import ExecutionVerificationSystem, OrderRequest, OrderType, Settings, Side


async def main(url: str, account: str, folder: str, client_order_id: str, tag: str) -> None:
    settings = Settings.hermetic(
        TOPSTEPX_API_URL=url,
        TOPSTEPX_USERNAME="desk-user",
        TOPSTEPX_API_KEY="desk-key-0123456789",
        TOPSTEPX_ACCOUNT_ID=account,
        BACKSTOP_STATE_DIR=folder,
    )
    async with ExecutionVerificationSystem(settings) as verification:
        decision = await verification.add_pending_order(
            OrderRequest(
                client_order_id=client_order_id,
                symbol="MES",
                side=Side.BUY,
                quantity=2,
                type=OrderType.MARKET,
            ),
            custom_tag=tag,
        )
        sys.stdout.write(f"decision {decision.kind}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
