-- Adds look-alikes to a photo's matches, keeps the earliest of those that exist and are earlier, and returns them.
-- Scripts run one at a time: so the last one to add sees what all before it added, and the time says who was last.
local name, most = ARGV[2], tonumber(ARGV[3])
local photo = redis.call('HMGET', prefix .. 'photo:' .. name, 'seller', 'scored', 'uploaded', 'at', 'of_text')
if not photo[1] then return false end
local function before(one, other)
    for i = 1, math.min(#one, #other) do
        local a, b = string.byte(one, i), string.byte(other, i)
        if a ~= b then return a < b end
    end
    return #one < #other
end
local bits = {}
local found = redis.call('HGETALL', prefix .. 'matches:' .. name)
for i = 1, #found, 2 do bits[found[i]] = found[i + 1] end
for i = 4, #ARGV, 2 do bits[ARGV[i]] = ARGV[i + 1] end
local mine, earlier, order = order_of(photo[3], name), {}, {}
for other, distance in pairs(bits) do
    local its = redis.call('HMGET', prefix .. 'photo:' .. other, 'seller', 'uploaded')
    if its[1] then
        order[other] = order_of(its[2], other)
        if before(order[other], mine) then earlier[#earlier + 1] = {other, distance, its[1], its[2]} end
    end
end
table.sort(earlier, function(one, other) return before(order[one[1]], order[other[1]]) end)
redis.call('DEL', prefix .. 'matches:' .. name)
local matches, own, others = {}, 0, 0
for _, match in ipairs(earlier) do
    if match[3] == photo[1] then own = own + 1 else others = others + 1 end
    if (match[3] == photo[1] and own == 1) or (match[3] ~= photo[1] and others <= most) then
        matches[#matches + 1] = match
        redis.call('HSET', prefix .. 'matches:' .. name, match[1], match[2])
    end
end
local now = redis.call('TIME')
local at = string.format('%.0f', math.max(now[1] * 1000000 + now[2], photo[4] + 1))
redis.call('HSET', prefix .. 'photo:' .. name, 'at', at)
return {photo[1], photo[2], photo[5] or '', at, matches}
