-- Adds look-alikes to a photo's matches, keeps the earliest of those that may be the original, judges and returns them.
-- Scripts run one at a time: so the last one to add sees what all before it added, and the time says who was last.
-- What is learned of a photo lies on it:
--   blocked    as a copy, by now
--   follows    the seller of the earliest photo that it was ever accused by, and `followed`, the time of that
--   since      when its seller first showed a look-alike. It defends the photo against those that came after, and makes
--              it nobody's original, nor is it handed on: else one could walk from look to look to a stranger's picture
--   stock      the name of the photo by whose coming so many sellers show the picture that it is nobody's
local name, most, close, many, looks = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local key = prefix .. 'photo:' .. name
local photo = redis.call('HMGET', key,
    'seller', 'scored', 'uploaded', 'at', 'of_text', 'follows', 'stock', 'since', 'followed', 'blocked', 'hash', 'trimmed')
if not photo[1] then return false end
local seller, of_text, follows, stock = photo[1], photo[5] or '', photo[6] or '', photo[7] or ''
local since, followed = photo[8] or photo[3], photo[9] or ''
for from = 1, #looks, 64 do
    local first = redis.call('ZSCORE', prefix .. 'first:' .. string.sub(looks, from, from + 63), seller)
    if first and tonumber(first) < tonumber(since) then since = string.format('%.0f', tonumber(first)) end
end
if tonumber(photo[3]) < tonumber(since) then since = photo[3] end

local bits = {}
local found = redis.call('HGETALL', prefix .. 'matches:' .. name)
for i = 1, #found, 2 do bits[found[i]] = found[i + 1] end
for i = 7, #ARGV, 2 do bits[ARGV[i]] = ARGV[i + 1] end
local mine, earlier, order, same = order_of(since, name), {}, {}, {}
local sellers, how_many = {[seller] = true}, 1
for other, distance in pairs(bits) do
    local its = redis.call('HMGET', prefix .. 'photo:' .. other,
        'seller', 'uploaded', 'waiting', 'blocked', 'follows', 'stock')
    if its[1] and its[3] ~= '1' then
        if tonumber(distance) <= close then
            same[#same + 1] = {other, its[5] or '', its[6] or ''}
            if not sellers[its[1]] then sellers[its[1]], how_many = true, how_many + 1 end
        end
        order[other] = order_of(its[2], other)
        -- A blocked copy is nobody's original, and what once followed this seller's is not this seller's original.
        if its[4] ~= '1' and its[5] ~= seller and before(order[other], mine) then
            earlier[#earlier + 1] = {other, distance, its[1], its[2]}
        end
    end
end
table.sort(earlier, function(one, other) return before(order[one[1]], order[other[1]]) end)

local again = {}
if how_many >= many and of_text == '' then
    if stock == '' then stock = name end
    for _, other in ipairs(same) do
        if other[3] == '' then
            redis.call('HSET', prefix .. 'photo:' .. other[1], 'stock', name)
            other[3] = name
        end
        -- Those accused before it was known; and once more when this photo comes again, lest the news were lost.
        if other[3] == name and other[2] ~= '' then again[#again + 1] = other[1] end
    end
end

redis.call('DEL', prefix .. 'matches:' .. name)
local matches, own, others = {}, 0, 0
for _, match in ipairs(earlier) do
    if match[3] == seller then own = own + 1 else others = others + 1 end
    if (match[3] == seller and own == 1) or (match[3] ~= seller and others <= most) then
        matches[#matches + 1] = match
        redis.call('HSET', prefix .. 'matches:' .. name, match[1], match[2])
    end
end

local blocked = ''
local original = matches[1]
if original and original[3] ~= seller then
    if followed == '' or tonumber(original[4]) < tonumber(followed) then follows, followed = original[3], original[4] end
    if tonumber(original[2]) <= close and of_text == '' and stock == '' then blocked = '1' end
end
if blocked == '1' and redis.call('EXISTS', prefix .. 'rebuilding') == 1 then
    redis.call('SADD', prefix .. 'withheld', name)
    blocked = ''
end
for _, hash in ipairs(hashes_of(photo[11], photo[12])) do
    move(hash, place_of(photo[3], name, photo[10]), place_of(photo[3], name, blocked))
end
local now = redis.call('TIME')
local at = string.format('%.0f', math.max(now[1] * 1000000 + now[2], photo[4] + 1))
redis.call('HSET', key, 'at', at, 'blocked', blocked, 'follows', follows, 'followed', followed, 'stock', stock,
    'since', since)
return {seller, photo[2], of_text, at, blocked, follows, stock, matches, again}
